# The page of `mmdisco app` with the embedded pair: docker build -t mmdisco . && docker run -p 7860:7860 mmdisco
FROM python:3.11-slim
RUN useradd --create-home user
WORKDIR /home/user/mmdisco
COPY --chown=user pyproject.toml constraints.txt README.md LICENSE ./
COPY --chown=user src src
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu --constraint constraints.txt torch \
 && pip install --no-cache-dir --constraint constraints.txt '.[app]'
USER user
EXPOSE 7860
CMD ["mmdisco", "app", "--host", "0.0.0.0", "--port", "7860"]
